// What every interactive part has: the element that its script stands in, its data, its controls.
const root = document.currentScript.parentElement;
const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
const control = (name) => root.querySelector(`[name="${name}"]`);
const summary = root.querySelector(".explorer-summary");
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

function row(cells, tag) {
  const made = make("tr");
  for (const cell of cells) made.appendChild(make(tag)).append(cell);
  return made;
}

function tabulate(heads, rows) {
  root.querySelector("thead").replaceChildren(row(heads, "th"));
  root.querySelector("tbody").replaceChildren(...rows.map((cells) => row(cells, "td")));
}

// What a slider stands at, beside it and for a screen reader.
function tell(name, value) {
  control(`${name}-is`).value = value;
  control(name).setAttribute("aria-valuetext", value);
}

// What the link to save the part's numbers saves.
function save(lines) {
  root.querySelector("a[download]").href = `data:text/csv;charset=utf-8,${encodeURIComponent(lines.join("\n"))}`;
}

const { heads, rows } = data;
const [head, body] = [root.querySelector("thead tr"), root.querySelector("tbody")];
const [more, search] = ["more", "search"].map(control);
const selects = [...root.querySelectorAll("select")];
const LINES = 50;
let order = { column: heads.indexOf("Accuracy, %"), down: true };
let all = false;

const compare = (a, b) => {
  const numbers = [parseFloat(a), parseFloat(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
};

function cell(text, column) {
  if (heads[column] !== "Record") return text;
  const textContent = text.split("_").at(-1).replace(".json", "");
  return make("a", { href: `../results/${text}`, textContent, ariaLabel: `Record ${text.split("/").at(-1)}` });
}

function draw() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((run) =>
    selects.every((select) => !select.value || run[heads.indexOf(select.name)] === select.value) &&
    words.every((word) => run.join(" ").toLowerCase().includes(word)));
  found.sort((a, b) => (order.down ? -1 : 1) * compare(a[order.column], b[order.column]));
  const shown = all ? found : found.slice(0, LINES);
  body.replaceChildren(...shown.map((run) => row(run.map(cell), "td")));
  [...head.children].forEach((each, column) =>
    each.setAttribute("aria-sort", column !== order.column ? "none" : order.down ? "descending" : "ascending"));
  more.hidden = shown.length === found.length;
  summary.textContent = `${found.length} of ${rows.length} runs` + (more.hidden ? "." : `, the first ${LINES} shown.`);
}

head.append(...heads.map((text, column) => {
  const made = make("th", { scope: "col" });
  const button = make("button", { type: "button", textContent: text });
  button.addEventListener("click", () => {
    order = { column, down: order.column === column ? !order.down : false };
    draw();
  });
  made.append(button);
  return made;
}));
[...selects, search].forEach((each) => each.addEventListener("input", () => { all = false; draw(); }));
more.addEventListener("click", () => { all = true; draw(); });
window.addEventListener("load", draw); // a browser that reloads a page keeps what was chosen
draw();

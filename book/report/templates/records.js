(() => {
  const root = document.currentScript.parentElement;
  const { heads, rows } = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const [head, body] = [root.querySelector("thead tr"), root.querySelector("tbody")];
  const [summary, more, search] = [".explorer-summary", '[name="more"]', '[name="search"]'].map((x) => root.querySelector(x));
  const selects = [...root.querySelectorAll("select")];
  const LINES = 50;
  let order = { column: heads.indexOf("Accuracy, %"), down: true };
  let all = false;

  const compare = (a, b) => {
    const numbers = [parseFloat(a), parseFloat(b)];
    return numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
  };

  function cell(text, column) {
    const made = document.createElement("td");
    if (heads[column] !== "Record") made.textContent = text;
    else {
      const link = document.createElement("a");
      link.href = `../results/${text}`;
      link.textContent = text.split("_").at(-1).replace(".json", "");
      link.setAttribute("aria-label", `Record ${text.split("/").at(-1)}`);
      made.append(link);
    }
    return made;
  }

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) =>
      selects.every((select) => !select.value || row[heads.indexOf(select.name)] === select.value) &&
      words.every((word) => row.join(" ").toLowerCase().includes(word)));
    found.sort((a, b) => (order.down ? -1 : 1) * compare(a[order.column], b[order.column]));
    const shown = all ? found : found.slice(0, LINES);
    body.replaceChildren(...shown.map((row) => {
      const line = document.createElement("tr");
      line.append(...row.map(cell));
      return line;
    }));
    [...head.children].forEach((each, column) =>
      each.setAttribute("aria-sort", column !== order.column ? "none" : order.down ? "descending" : "ascending"));
    more.hidden = shown.length === found.length;
    summary.textContent = `${found.length} of ${rows.length} runs` + (more.hidden ? "." : `, the first ${LINES} shown.`);
  }

  head.append(...heads.map((text, column) => {
    const made = document.createElement("th");
    const button = document.createElement("button");
    made.scope = "col";
    button.type = "button";
    button.textContent = text;
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
})();

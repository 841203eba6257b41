const stage = control("stage");

function draw() {
  const { text, cells, kinds } = data.table[control("method").value][control("fraction").value][stage.value];
  summary.textContent = text;
  stage.setAttribute("aria-valuetext", text.split(":")[0]);
  root.querySelectorAll("td").forEach((cell, index) => {
    cell.textContent = cells[index];
    for (const property of ["border", "borderRadius", "fontWeight", "textDecoration"]) cell.style[property] = "";
    cell.style.cssText += ";" + data.styles[kinds[index]];
  });
}

root.addEventListener("input", draw);
player(stage);
draw();

(() => {
  const root = document.currentScript.parentElement;
  const { table, styles } = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const control = (name) => root.querySelector(`[name="${name}"]`);
  const stage = control("stage");

  function draw() {
    const { text, cells, kinds } = table[control("method").value][control("fraction").value][stage.value];
    root.querySelector(".explorer-summary").textContent = text;
    stage.setAttribute("aria-valuetext", text.split(":")[0]);
    root.querySelectorAll("td").forEach((cell, index) => {
      cell.textContent = cells[index];
      for (const property of ["border", "borderRadius", "fontWeight", "textDecoration"]) cell.style[property] = "";
      cell.style.cssText += ";" + styles[kinds[index]];
    });
  }

  function step(by) {
    stage.value = Number(stage.value) + by;
    draw();
  }

  control("previous").addEventListener("click", () => step(-1));
  control("next").addEventListener("click", () => step(1));
  root.addEventListener("input", draw);
  draw();
})();

(() => {
  const root = document.currentScript.parentElement;
  const { curves, alphas, ends, steps, width, height, top } = JSON.parse(
    root.querySelector('script[type="application/json"]').textContent,
  );
  const controls = ["alpha", "end"].map((name) => root.querySelector(`[name="${name}"]`));
  const outputs = root.querySelectorAll("output");

  function draw() {
    const [alpha, end] = controls.map((control) => control.value);
    const { values, text } = curves[alpha][end];
    [alphas[alpha], ends[end]].forEach((value, index) => {
      outputs[index].value = value;
      controls[index].setAttribute("aria-valuetext", value);
    });
    root.querySelector(".explorer-summary").textContent = text;
    const points = values.map((value, at) => `${(width * at) / (values.length - 1)} ${height * (1 - value / top)}`);
    root.querySelector(".chosen").setAttribute("d", `M${points.join("L")}`);
    const csv = ["step,drop fraction", ...values.map((value, index) => `${steps[index]},${value}`)].join("\n");
    root.querySelector("a[download]").href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv)}`;
  }

  root.addEventListener("input", draw);
  draw();
})();

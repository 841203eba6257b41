const { curves, steps, width, height, top } = data;

function draw() {
  const [alpha, end] = ["alpha", "end"].map((name) => control(name).value);
  const { values, text } = curves[alpha][end];
  tell("alpha", data.alphas[alpha]);
  tell("end", data.ends[end]);
  summary.textContent = text;
  const points = values.map((value, at) => `${(width * at) / (values.length - 1)} ${height * (1 - value / top)}`);
  root.querySelector(".chosen").setAttribute("d", `M${points.join("L")}`);
  save(["step,drop fraction", ...values.map((value, index) => `${steps[index]},${value}`)]);
}

root.addEventListener("input", draw);
draw();

function exponent(value) {
  const [digits, power] = value.toExponential(3).split("e");
  return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

function draw() {
  const [model, method, length] = ["model", "method", "multiplier"].map((name) => control(name).value);
  const density = data.grid[control("density").value];
  const deltaT = String(data.delta_ts[control("delta_t").value]);
  control("distribution").disabled = data.without.includes(method);
  control("density").disabled = method === "dense";
  control("delta_t").disabled = !data.updated.includes(method);
  tell("density", density);
  tell("delta_t", deltaT);

  const masks = data.without.includes(method) ? "-" : control("distribution").value;
  const setting = `${masks} ${method === "dense" ? "1" : density}`;
  const { dense, entries, printed } = data.models[model];
  const entry = entries[`${data.fixed.includes(method) ? "fixed" : method} ${setting}`];
  const [sparse, full] = data.steps[method][deltaT];
  const cells = root.querySelectorAll("tbody td");
  let numbers = [null, null];
  if (entry) {
    numbers = [(length * (sparse * entry.mean + full + entry.source)) / 3, entry.final];
  }
  const asked = deltaT === String(data.usual) || !data.updated.includes(method);
  const theirs = (asked && printed[`${method} ${setting} ${length}`]) || data.nothing;
  numbers.forEach((ratio, index) => {
    const texts = ["-", "-", theirs[index]];
    if (ratio !== null) {
      texts[0] = exponent(ratio * dense * (index === 0 ? 3 : 1));
      texts[1] = ratio.toFixed(4);
    }
    texts.forEach((text, column) => (cells[3 * index + column].textContent = text));
  });
  root.querySelector(".origin").textContent = entry ? entry.origin : data.missing;
  root.querySelector(".printed").textContent = theirs[2];
}

root.addEventListener("input", draw);
draw();

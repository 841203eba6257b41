const update = control("update");
const picture = root.querySelector('[role="img"]');

function draw() {
  const { text, active, paths } = data[update.value];
  summary.textContent = text;
  update.setAttribute("aria-valuetext", text);
  picture.setAttribute("aria-label", text);
  picture.querySelectorAll("b").forEach((count, unit) => (count.textContent = active[unit]));
  picture.querySelectorAll("svg").forEach((square, unit) => {
    for (const [kind, path] of Object.entries(paths[unit])) {
      square.querySelector(`[data-kind="${kind}"]`).setAttribute("d", path);
    }
  });
}

root.addEventListener("input", draw);
player(update, 500);
draw(); // a browser may come back to a page with the slider where it was

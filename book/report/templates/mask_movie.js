(() => {
  const root = document.currentScript.parentElement;
  const frames = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const control = (name) => root.querySelector(`[name="${name}"]`);
  const update = control("update");
  const play = control("play");
  const summary = root.querySelector(".explorer-summary");
  const picture = root.querySelector('[role="img"]');
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;

  function draw() {
    const { text, active, paths } = frames[update.value];
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

  function go(to) {
    update.value = to;
    draw();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    summary.setAttribute("aria-live", "polite");
  }

  function start() {
    if (update.value === update.max) go(0);
    timer = setInterval(() => {
      go(Number(update.value) + 1);
      if (update.value === update.max) pause();
    }, 1000 * play.dataset.seconds);
    play.textContent = "Pause";
    summary.setAttribute("aria-live", "off"); // a voice could not follow
  }

  function step(by) {
    pause();
    go(Number(update.value) + by);
  }

  function calm() {
    play.hidden = still.matches;
    if (still.matches) pause();
  }

  update.addEventListener("input", () => step(0));
  control("previous").addEventListener("click", () => step(-1));
  control("next").addEventListener("click", () => step(1));
  play.addEventListener("click", () => (timer === null ? start() : pause()));
  still.addEventListener("change", calm);
  calm();
  draw(); // a browser may come back to a page with the slider where it was
})();

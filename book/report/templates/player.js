// Moves a slider by buttons, one step or playing; each step is an input event, as if a reader had made it.
function player(slider, milliseconds) {
  const play = control("play");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;

  function go(to) {
    slider.value = to;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function pause() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    summary.setAttribute("aria-live", "polite");
  }

  function start() {
    if (slider.value === slider.max) go(0);
    timer = setInterval(() => {
      go(Number(slider.value) + 1);
      if (slider.value === slider.max) pause();
    }, milliseconds);
    play.textContent = "Pause";
    summary.setAttribute("aria-live", "off"); // a voice could not follow
  }

  function step(by) {
    pause();
    go(Number(slider.value) + by);
  }

  function calm() {
    play.hidden = still.matches;
    if (still.matches) pause();
  }

  control("previous").addEventListener("click", () => step(-1));
  control("next").addEventListener("click", () => step(1));
  if (!play) return;
  slider.addEventListener("input", (event) => event.isTrusted && pause());
  play.addEventListener("click", () => (timer === null ? start() : pause()));
  still.addEventListener("change", calm);
  calm();
}

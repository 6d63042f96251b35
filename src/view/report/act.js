// Lets whoever has the token act. The token is kept on this page alone, and goes with its tab.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const [actions, token, sure, answer] = ["actions", "token", "sure", "answer"].map($);
  let wanted = null;
  const may = () => document.body.classList.toggle("may", token.value !== "");
  actions.addEventListener("submit", (event) => event.preventDefault());
  token.addEventListener("input", may);
  may();
  actions.hidden = false;
  const over = () => (actions.hidden = $("live").textContent === "the run has ended");
  new MutationObserver(over).observe($("live"), { childList: true });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-verb]");
    if (!button) return;
    const { verb, step, attempt } = button.dataset;
    wanted = { verb };
    if (step !== undefined) wanted.step = step;
    if (+attempt > 0) wanted.attempt = +attempt;
    $("question").textContent = (button.getAttribute("aria-label") ?? button.textContent) + "?";
    sure.showModal();
    $("no").focus();
  });
  $("no").addEventListener("click", () => sure.close());
  $("yes").addEventListener("click", async () => {
    sure.close();
    answer.textContent = "asked";
    try {
      const response = await fetch("/v1/requests", {
        method: "POST",
        credentials: "omit",
        headers: { "Content-Type": "application/json", Authorization: "Bearer " + token.value },
        body: JSON.stringify(wanted),
      });
      const isAnswer = response.headers.get("Content-Type") === "application/json";
      answer.textContent = isAnswer ? (await response.json()).message : (await response.text()).trim();
    } catch {
      answer.textContent = "no answer came: is the run over?";
    }
  });
})();

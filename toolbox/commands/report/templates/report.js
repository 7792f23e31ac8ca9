"use strict";
// Without this script the page shows every configuration, one below the other.
for (const select of document.querySelectorAll("select[data-of]")) {
  const choose = () => {
    for (const option of select.options) {
      document.getElementById(option.value).hidden = !option.selected;
    }
  };
  select.closest(".choice").hidden = false;
  select.addEventListener("change", choose);
  choose();
}
// A link into a configuration that is not chosen, or into details that are closed, opens them.
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
    if (part.hidden) {
      const option = document.querySelector(`option[value="${CSS.escape(part.id)}"]`);
      if (option) {
        option.selected = true;
        option.parentElement.dispatchEvent(new Event("change"));
      }
    }
  }
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => {
    const text = button.parentElement.querySelector("code").textContent;
    navigator.clipboard.writeText(text).then(() => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });
}

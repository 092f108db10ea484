const box = document.getElementById("enlarged"), all = [...document.querySelectorAll(".gallery button")];
let at = 0;
function show(number) {
  at = (number + all.length) % all.length;
  const item = all[at].parentElement;
  box.querySelector("div").replaceChildren(all[at].firstElementChild.cloneNode(true));
  box.querySelector("p").textContent = [item.querySelector("p").textContent, item.dataset.scale].join("\n").trim();
}
all.forEach((button, number) => button.addEventListener("click", () => { show(number); box.showModal(); }));
box.querySelectorAll("[value]").forEach(b => b.addEventListener("click", () => show(at + Number(b.value))));
box.addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) { event.preventDefault(); show(at + step); }
});
box.addEventListener("click", event => { if (event.target === box) box.close(); });
box.addEventListener("close", () => all[at].focus());

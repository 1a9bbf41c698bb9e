// A split of an alias: a slider and a number that say the same, and a share that is sent only where there is a split.

for (const form of document.querySelectorAll(".alias-form")) {
  const version = form.querySelector(".split-version");
  const part = form.querySelector(".split-share");
  const [slide, percent, share] = ["[type=range]", "[type=number]", "[name='split.share']"].map((one) => part.querySelector(one));
  const set = (value) => { share.value = String(Math.round(value * 10) / 1000); };
  version.onchange = () => { part.hidden = version.value === ""; };
  slide.oninput = () => { percent.value = slide.value; set(Number(slide.value)); };
  percent.oninput = () => { slide.value = percent.value; set(Number(percent.value)); };
  version.onchange();
}

// A model from a file: it goes up as datasets do, in parts that are taken up again, and then becomes an import.
import { call, say, sayNext } from "./api.js";
import { tell, valuesOf } from "./form.js";
import { Upload } from "./upload.js";

const form = document.getElementById("import");
const [drop, input, line, bar, cancel] = ["drop", "f-file", "told", "progress", "cancel"].map((id) => document.getElementById(id));
const go = form.querySelector("button.primary");
let upload = null;
let arrived = null;

const size = (bytes) => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

/** Bring the file, unless it is there from a try before, and return its id. */
async function bring(file) {
  if (arrived?.file === file) return arrived.id;
  upload = new Upload(file, file.name, {
    project: `${form.dataset.project}/models`,
    mark: `${file.name}:${file.size}:${file.lastModified}`,
    told: () => {
      if (!upload) return;
      bar.value = upload.sent;
      line.textContent = upload.note || `${size(upload.sent)} of ${size(file.size)}`;
    },
  });
  const { id } = await upload.run();
  arrived = { file, id };
  return id;
}

function chosen() {
  const file = input.files[0];
  document.getElementById("chosen").textContent = file ? `${file.name}, ${size(file.size)}` : "A zip or tar of a diffusers folder, or the .safetensors of a LoRA.";
  if (file && !form.elements.name.value) form.elements.name.value = file.name.replace(/\.(zip|tar(\.\w+)?|tgz|safetensors)$/i, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 64);
}

function busy(is) {
  go.disabled = input.disabled = is;
  go.setAttribute("aria-busy", String(is));
  cancel.hidden = bar.hidden = !is;
}

form.noValidate = true;
form.onsubmit = async (event) => {
  event.preventDefault();
  if (go.disabled) return;
  const file = input.files[0];
  tell(form, file ? [] : [{ param: "file", message: "Choose a file." }]);
  if (!file) return;
  bar.max = file.size;
  busy(true);
  try {
    const id = await bring(file);
    line.textContent = "The file is here.";
    cancel.hidden = true;
    await call("POST", "/v1/models/imports", { ...valuesOf(form), file: id });
    sayNext("A worker checks the file now; it becomes a model when all is well.");
    location.assign("/models#imports"); // Until it is there nothing is sent again.
  } catch (problem) {
    const cancelled = upload?.stop.signal.aborted;
    line.textContent = "";
    upload = null;
    busy(false);
    if (!cancelled) {
      const left = tell(form, problem.errors ?? []);
      if (left.length || !problem.errors?.length) say(left.join(" ") || problem.message, { bad: true });
    }
  }
};

addEventListener("pageshow", (event) => { if (event.persisted) busy(false); });
cancel.onclick = () => upload?.cancel();
input.onchange = chosen;
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
drop.addEventListener("drop", (event) => { if (event.dataTransfer.files.length && !input.disabled) { input.files = event.dataTransfer.files; chosen(); } });
chosen();

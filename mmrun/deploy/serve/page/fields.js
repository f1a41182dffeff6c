import { make } from "./dom.js";

const ACCEPTED = {
  image: "image/*,.npy,.dcm", audio: "audio/*,.flac,.wav", video: "video/*,.gif", points: ".ply,.pcd,.bin,.npy", series: ".csv,.npy,.edf,.bdf",
};
const MAX_OPTIONS = 50; // categories of a menu; beyond it they are suggested while one types
const MAX_SECONDS = 60; // of a recording

/** Build the inputs of one modality; return {element, read}, where read adds cells to a FormData. */
export function buildModality(modality) {
  const files = { image: buildFile, audio: buildFile, video: buildFile, points: buildFile };
  const build = { ...files, text: buildText, series: buildSeries }[modality.kind];
  const fields = modality.columns.map((column) => (build ?? buildCell)(column, modality.kind));
  const legend = make("legend", {}, modality.modality, " ", make("small", {}, modality.kind));
  return {
    element: make("fieldset", {}, legend, ...fields.map((field) => field.element)),
    read: (form) => fields.forEach((field) => field.read(form)),
    clear: () => fields.forEach((field) => field.clear?.()),
  };
}

function buildText(column) {
  const input = make("textarea", { id: `cell-${column.name}`, "aria-label": column.name, rows: 3 });
  return { element: input, read: (form) => appendText(form, column.name, input.value) };
}

function buildCell(column) {
  const id = `cell-${column.name}`;
  let input;
  const children = [];
  if (column.type === "category" && column.num_categories <= MAX_OPTIONS) {
    const options = column.categories.map((name) => make("option", { value: name }, name));
    input = make("select", { id }, make("option", { value: "" }, "(empty)"), ...options);
  } else if (column.type === "category") {
    const list = make("datalist", { id: `list-${column.name}` });
    list.append(...column.categories.map((name) => make("option", { value: name })));
    input = make("input", { id, autocomplete: "off" });
    input.setAttribute("list", list.id);
    children.push(list);
  } else {
    const hint = column.type === "number" ? `mean ${Number(column.mean.toPrecision(4))}` : "";
    input = make("input", { id, placeholder: hint, autocomplete: "off" });
    if (column.type === "number") input.inputMode = "decimal";
  }
  const label = make("label", { htmlFor: id }, column.name);
  const element = make("div", { className: "field" }, label, input, ...children);
  return { element, read: (form) => appendText(form, column.name, input.value) };
}

function buildSeries(column, kind) {
  const text = make("textarea", { id: `cell-${column.name}`, "aria-label": `${column.name}: numbers`, rows: 2 });
  text.placeholder = "1.5, 2, 2.5, …";
  const file = buildFile(column, kind);
  return {
    element: make("div", {}, text, file.element),
    read: (form) => (text.value.trim() ? appendText(form, column.name, text.value) : file.read(form)),
    clear: file.clear,
  };
}

function appendText(form, name, text) {
  if (text.trim()) form.append(name, text);
}

/** A place to drop a file (several, where a cell is a list), to choose one, or to record a sound. */
function buildFile(column, kind) {
  const id = `file-${column.name}`;
  const input = make("input", { type: "file", id, accept: ACCEPTED[kind], "aria-label": `${column.name}: choose a file`, multiple: Boolean(column.list) });
  const label = make("label", { htmlFor: id, className: "button plain" }, "Choose a file");
  const preview = make("div");
  const hint = make("p", { className: "quiet" });
  const remove = make("button", { type: "button", className: "plain", hidden: true, "aria-label": `Remove ${column.name}` }, "Remove");
  const buttons = make("div", { className: "buttons" }, input, label);
  const element = make("div", { className: "drop" }, preview, hint, buttons);
  let chosen = [];

  function show(files) {
    preview.querySelectorAll("img, audio, video").forEach((shown) => URL.revokeObjectURL(shown.src));
    preview.replaceChildren();
    chosen = column.list ? files : files.slice(0, 1);
    remove.hidden = chosen.length === 0;
    hint.textContent = chosen.map((file) => `${file.name}, ${formatBytes(file.size)}`).join("; ") || "Drop a file here";
    if (chosen.length === 0) input.value = "";
    for (const file of chosen) {
      if (kind === "image" && !file.name.endsWith(".npy")) preview.append(showImage(file, column.name));
      else if (kind === "video" && file.type.startsWith("video/")) preview.append(make("video", { controls: true, muted: true, src: URL.createObjectURL(file) }));
      else if (kind === "audio") preview.append(make("audio", { controls: true, src: URL.createObjectURL(file) }));
    }
  }
  input.addEventListener("change", () => input.files.length && show([...input.files]));
  remove.addEventListener("click", () => { show([]); input.focus(); });
  for (const name of ["dragover", "dragleave", "drop"]) {
    element.addEventListener(name, (event) => {
      event.preventDefault();
      element.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) show([...event.dataTransfer.files]);
    });
  }
  if (kind === "audio" && navigator.mediaDevices) buttons.append(buildRecorder(column.name, show, hint));
  buttons.append(remove);
  show([]);
  return { element, read: (form) => chosen.forEach((file) => form.append(column.name, file)), clear: () => show([]) };
}

function showImage(file, name) {
  const image = make("img", { alt: `${name}: ${file.name}`, src: URL.createObjectURL(file) });
  image.addEventListener("error", () => image.remove());
  return image;
}

function formatBytes(size) {
  return size < 1024 ? `${size} B` : size < 1 << 20 ? `${(size / 1024).toFixed(0)} KiB` : `${(size / (1 << 20)).toFixed(1)} MiB`;
}

// ------------------------------------------------------------------------------------------------------ recording

function buildRecorder(name, show, hint) {
  const button = make("button", { type: "button", className: "plain", "aria-label": `Record ${name}` }, "Record");
  let stop = null;
  button.addEventListener("click", async () => {
    if (stop) {
      button.textContent = "Record";
      const file = await stop();
      stop = null;
      show([file]);
      return;
    }
    try {
      stop = await record();
      button.textContent = "Stop";
      hint.textContent = "Recording …";
      const running = stop;
      setTimeout(() => stop === running && button.click(), 1000 * MAX_SECONDS);
    } catch (error) {
      hint.textContent = `The microphone cannot be used (${error.name}); choose a file`;
    }
  });
  return button;
}

/** Start to record; return a function that stops, and returns a WAV file. */
async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/recorder.js");
  const tap = new AudioWorkletNode(context, "tap");
  const chunks = [];
  tap.port.onmessage = (event) => chunks.push(event.data);
  context.createMediaStreamSource(stream).connect(tap).connect(context.destination);
  return async () => {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
    return new File([encodeWav(chunks, context.sampleRate)], "recording.wav", { type: "audio/wav" });
  };
}

/** Encode chunks of samples in -1..1 as a WAV of 16 bits and one channel. */
export function encodeWav(chunks, rate) {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const write = (offset, text) => [...text].forEach((letter, place) => view.setUint8(offset + place, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this part
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per sample
  view.setUint16(34, 16, true); // bits per sample
  write(36, "data");
  view.setUint32(40, 2 * length, true);
  let offset = 44;
  for (const chunk of chunks) {
    for (const sample of chunk) {
      view.setInt16(offset, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      offset += 2;
    }
  }
  return view.buffer;
}

// The result of the page: masks over the photo, name and score under the pointer.
// Gradio runs this once with `element`, `props` and `watch`; page.py says what
// `props.value` holds.
const find = (selector) => element.querySelector(selector);
const [stage, photo, canvas] = ['.stage', '.photo', '.masks'].map(find);
const [tip, legend, files] = ['.tip', '.legend', '.files'].map(find);
const opacity = find('.opacity input');
let result = null; // of the last request, with `labels` and `steps` (scores) by pixel
let alone = null; // label of the only mask that is shown; null: all are

async function read(value) {
  const answer = await fetch(value.pixels.url);
  const unpacked = answer.body.pipeThrough(new DecompressionStream('gzip'));
  const bytes = await new Response(unpacked).arrayBuffer();
  const count = value.width * value.height;
  return {
    ...value,
    byLabel: new Map(value.classes.map((entry) => [entry.label, entry])),
    labels: new Uint16Array(bytes, 0, count),
    steps: value.score_range && new Uint16Array(bytes, 2 * count, count),
  };
}

function paint() {
  const colours = new Uint32Array(2 ** 16); // 0: clear
  const bytes = new Uint8Array(colours.buffer);
  for (const { label, colour, clear } of result.classes) {
    if (alone === null ? clear : label !== alone) continue;
    bytes.set([...colour, 255], 4 * label);
  }
  const pixels = new Uint32Array(result.labels.length);
  result.labels.forEach((label, i) => { pixels[i] = colours[label]; });
  const shown = new Uint8ClampedArray(pixels.buffer);
  canvas.width = result.width;
  canvas.height = result.height;
  canvas.getContext('2d').putImageData(new ImageData(shown, result.width), 0, 0);
}

function listClasses() {
  legend.replaceChildren(...result.classes.map(({ label, name, share, colour }) => {
    const button = document.createElement('button');
    const patch = document.createElement('i');
    const percent = document.createElement('small');
    patch.style.background = `rgb(${colour})`;
    percent.textContent = `${(100 * share).toFixed(1)} %`;
    button.append(patch, name, percent);
    button.title = `label ${label}: show only its mask`;
    button.dataset.label = label;
    const show = (only) => () => { alone = only; paint(); };
    button.onpointerenter = button.onfocus = show(label);
    button.onpointerleave = button.onblur = show(null);
    return button;
  }));
  const names = result.classes.map((entry) => entry.name).join(', ');
  canvas.setAttribute('aria-label', `masks of ${names}`);
}

function offerFiles() {
  const kinds = { mask: 'Mask (PNG)', overlay: 'Overlay (JPEG)', scores: 'Scores (NPZ)' };
  const there = Object.keys(kinds).filter((kind) => result[kind]);
  files.replaceChildren(...there.map((kind) => {
    const link = document.createElement('a');
    link.href = result[kind].url;
    link.download = result[kind].orig_name;
    link.textContent = `↓ ${kinds[kind]}`;
    return link;
  }));
}

function point(event) {
  if (!result) return;
  const box = stage.getBoundingClientRect();
  const across = (event.clientX - box.left) / box.width;
  const down = (event.clientY - box.top) / box.height;
  const x = Math.floor(across * result.width), y = Math.floor(down * result.height);
  tip.hidden = !(x >= 0 && y >= 0 && x < result.width && y < result.height);
  if (tip.hidden) return;
  const i = y * result.width + x;
  const { label, name } = result.byLabel.get(result.labels[i]);
  tip.textContent = name;
  if (result.steps) {
    const [low, high] = result.score_range;
    const score = low + (high - low) * result.steps[i] / 65535;
    tip.textContent += ` ${score.toPrecision(3)}`;
  }
  tip.style.left = `${100 * across}%`;
  tip.style.top = `${100 * down}%`;
  tip.style.translate = `${across > 0.5 ? 'calc(-100% - 8px)' : '14px'} ${down > 0.5 ? '-120%' : '14px'}`;
  for (const button of legend.children) {
    button.classList.toggle('current', Number(button.dataset.label) === label);
  }
}

function leave() {
  tip.hidden = true;
  for (const button of legend.children) button.classList.remove('current');
}

async function update() {
  const value = props.value;
  const next = value && await read(value);
  if (value !== props.value) return; // another one has come meanwhile
  result = next;
  alone = null;
  element.classList.toggle('empty', !result);
  leave();
  if (!result) return;
  photo.src = result.photo.url;
  stage.style.setProperty('--ratio', result.width / result.height);
  listClasses();
  offerFiles();
  paint();
  element.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
}

opacity.oninput = () => { canvas.style.opacity = opacity.value / 100; };
opacity.oninput();
stage.onpointermove = stage.onpointerdown = point;
stage.onpointerleave = leave;
watch('value', update);
update();

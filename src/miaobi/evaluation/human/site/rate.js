"use strict";

const find = (id) => document.getElementById(id);
const SMALL = 160;
const SIDES = ["a", "b"];
let current = null;
let since = 0;
let sending = false;
let media = [];

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const reply = await fetch(path, options);
  // Answered already, in another tab or before a reload: the server knows where to go on.
  if (reply.status === 409) return ask("state");
  if (!reply.ok) throw new Error((await reply.json()).error);
  return reply.json();
}

function made(tag, properties = {}, children = []) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function loaded(element, event, address) {
  return new Promise((resolve, reject) => {
    element.addEventListener(event, resolve, { once: true });
    element.addEventListener("error", () => reject(new Error("This browser cannot show the item.")), { once: true });
    element.src = address;
  });
}

async function content(piece) {
  if (piece.media === undefined) {
    return made("pre", { textContent: piece.text, className: piece.kind === "instruction" ? "check" : "" });
  }
  const reply = await fetch(piece.media);
  if (!reply.ok) throw new Error("The item could not be fetched.");
  const address = URL.createObjectURL(await reply.blob());
  media.push(address);
  if (piece.kind === "image") {
    const image = made("img", { alt: "The picture to judge" });
    await loaded(image, "load", address);
    image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < SMALL);
    return image;
  }
  const player = made(piece.kind === "sound" ? "audio" : "video", { controls: true, playsInline: true });
  if (piece.kind === "video") Object.assign(player, { loop: true, muted: true });
  player.setAttribute("aria-label", piece.kind === "sound" ? "The sound to judge" : "The clip to judge");
  await loaded(player, "loadeddata", address);
  return player;
}

function choices(state) {
  if (state.points) return Array.from({ length: state.points }, (_, i) => [`${i + 1}`, `${i + 1}`]);
  return [["a", "A"], ["b", "B"], ...(state.ties ? [["tie", "Cannot tell"]] : [])];
}

function choiceName(state, value, name) {
  if (!state.points) return value === "tie" ? name : `${name} is my answer`;
  const end = { 1: state.low, [state.points]: state.high }[value];
  return end ? `${name}: ${end}` : name;
}

async function show(state) {
  media.forEach(URL.revokeObjectURL);
  media = [];
  current = null;
  const progress = find("progress");
  progress.max = state.total;
  progress.value = state.done;
  find("count").textContent = state.trial ? `${state.done + 1} of ${state.total}` : `${state.total} of ${state.total}`;
  find("form").hidden = !state.trial;
  find("over").hidden = Boolean(state.trial);
  if (!state.trial) {
    find("over").firstElementChild.focus();
    return;
  }
  const parts = await Promise.all(state.pieces.map(content));
  const captioned = (part, i) => parts.length > 1 ? [made("figcaption", { textContent: SIDES[i].toUpperCase() }), part] : [part];
  find("pieces").replaceChildren(...parts.map((part, i) => made("figure", {}, captioned(part, i))));
  find("pieces").className = parts.length > 1 ? "two" : "";
  find("question").textContent = state.question;
  find("given").textContent = state.given;
  find("given").hidden = !state.given;
  find("choices").replaceChildren(...choices(state).map(([value, name]) => {
    const input = made("input", { type: "radio", name: "choice", value, required: true });
    input.setAttribute("aria-label", choiceName(state, value, name));
    return made("label", {}, [input, made("span", { textContent: name })]);
  }));
  find("ends").hidden = !state.points;
  find("low").textContent = state.points ? `1: ${state.low}` : "";
  find("high").textContent = state.points ? `${state.points}: ${state.high}` : "";
  find("keys").textContent = state.points
    ? `Keys: 1 to ${state.points}, or the arrows; Enter for the next one.`
    : `Keys: 1 or ← for A, 2 or → for B${state.ties ? ", 3 or ↓ for cannot tell" : ""}; Enter for the next one.`;
  find("status").textContent = "";
  find("next").disabled = true;
  window.scrollTo(0, 0);
  find("question").focus({ preventScroll: true });
  since = performance.now();
  current = state;
}

const inputs = () => Array.from(document.querySelectorAll("#choices input"));
const chosen = () => inputs().findIndex((input) => input.checked);

function choose(index) {
  const input = inputs()[index];
  if (!input) return;
  input.checked = true;
  input.focus({ preventScroll: true });
  changed();
}

function changed() {
  find("next").disabled = chosen() < 0;
  document.querySelectorAll("#pieces.two figure").forEach((figure, i) => figure.classList.toggle("chosen", i === chosen()));
}

function arrow(key) {
  if (!current.points) return { ArrowLeft: 0, ArrowRight: 1, ArrowDown: current.ties ? 2 : undefined }[key];
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[key];
  if (step === undefined) return undefined;
  const at = chosen() < 0 ? Math.floor(current.points / 2) : chosen() + step;
  return Math.min(current.points - 1, Math.max(0, at));
}

function pressed(event) {
  if (!current || sending || event.ctrlKey || event.altKey || event.metaKey) return;
  // A player's own keys stay its own.
  if (["AUDIO", "VIDEO"].includes(event.target.tagName)) return;
  const index = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : arrow(event.key);
  if (index !== undefined) {
    event.preventDefault();
    choose(index);
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (!event.repeat) send();
  }
}

async function send() {
  if (!current || sending || chosen() < 0) return;
  sending = true;
  find("next").disabled = true;
  const seconds = (performance.now() - since) / 1000;
  try {
    await show(await ask("answer", { trial: current.trial, answer: inputs()[chosen()].value, seconds }));
  } catch (error) {
    failed(error);
    find("next").disabled = false;
  } finally {
    sending = false;
  }
}

function failed(error) {
  const lost = error instanceof TypeError;
  find("status").textContent = lost
    ? "The rating server does not answer. Everything sent before is saved; try again."
    : `${error.message} Reload the page to try again.`;
}

document.addEventListener("keydown", pressed);
find("choices").addEventListener("change", changed);
find("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
ask("state").then(show).catch(failed);

/* The page: images that are picked, dropped or pasted, or the camera, and their predictions. */
const part = id => document.getElementById(id)
const names = {class_names: spec.names.objects || spec.names.label || [], mask_names: spec.names.mask || []}
const say = text => { part("status").textContent = text }
const THUMB = 240
const video = Object.assign(document.createElement("video"), {muted: true, playsInline: true})
const camera = cameraOf(part("camera"), video)
let network, busy = Promise.resolve()

const answerOf = found => {
  if (found.label !== undefined) return `${found.label} ${(100 * found.score).toFixed(0)}\u00a0%`
  if (found.objects) return `${found.objects.length} object${found.objects.length === 1 ? "" : "s"}`
  if (found.labels) {
    const taken = Object.keys(found.labels).filter(name => found.labels[name] >= found.thresholds[name])
    return taken.join(", ") || "none"
  }
  if (found.value) return Object.entries(found.value).map(([name, value]) => `${name} ${value.toPrecision(4)}`).join(", ")
  if (found.bbox === null) return "no object"
  return ""
}

function thumbnail(canvas) {
  const scale = Math.min(1, THUMB / Math.max(canvas.width, canvas.height)), small = document.createElement("canvas")
  small.width = Math.max(1, Math.round(canvas.width * scale))
  small.height = Math.max(1, Math.round(canvas.height * scale))
  const pen = small.getContext("2d")
  pen.imageSmoothingQuality = "high"
  pen.drawImage(canvas, 0, 0, small.width, small.height)
  return small
}

/* A file name on one line, which is cut if it is long and can be read in full by pointing at it. */
function fileName(name) {
  const line = document.createElement("span")
  line.textContent = line.title = name
  return line
}

/* One image of the strip: its picture is a button that shows its prediction again. */
function addItem(name) {
  const figure = document.createElement("figure"), button = document.createElement("button")
  const caption = document.createElement("figcaption")
  button.type = "button"
  button.disabled = true
  caption.append(fileName(name))
  figure.append(button, caption)
  part("strip").append(figure)
  return {figure, button, caption}
}

async function show(file, found, image, item) {
  for (const button of part("strip").querySelectorAll("button")) button.setAttribute("aria-pressed", "false")
  if (item) item.button.setAttribute("aria-pressed", "true")
  part("shown").hidden = false
  part("name").textContent = file.name
  return showResult(part("result"), image, found, names)
}

async function predictFile(file, item, first) {
  try {
    const bitmap = await readImage(file), image = pixelsOf(bitmap)
    bitmap.close()
    const start = performance.now(), found = await predictImage(network, image)
    const time = performance.now() - start
    item.button.append(thumbnail(image.canvas))
    item.button.setAttribute("aria-label", `Show ${file.name}: ${answerOf(found)}`)
    item.button.disabled = false
    const answer = document.createElement("b")
    answer.textContent = answerOf(found)
    item.caption.replaceChildren(answer, fileName(file.name))
    item.button.onclick = async () => {
      stopCamera()
      await show(file, found, pixelsOf(await readImage(file)).canvas, item)
    }
    if (first) await show(file, found, image.canvas, item)
    return time
  } catch (error) {
    const text = error.name === "InvalidStateError" ? "not an image that this browser can read" : error.message
    item.figure.classList.add("failed")
    item.caption.textContent = `${file.name}: ${text}`
    return 0
  }
}

async function predictFiles(files) {
  if (!files.length) return
  stopCamera()
  part("drop").classList.add("small")
  const items = files.map(file => addItem(file.name))
  let total = 0
  for (const [place, file] of files.entries()) {
    say(files.length > 1 ? `Image ${place + 1} of ${files.length} ...` : "Predicting ...")
    await new Promise(resolve => setTimeout(resolve)) // the page is drawn before the network runs
    total += await predictFile(file, items[place], place === 0)
  }
  part("strip").hidden = part("strip").children.length < 2 && !part("strip").querySelector(".failed")
  say(`${files.length} image${files.length > 1 ? "s" : ""}, ${(total / files.length).toFixed(0)} ms per image. `
    + "Nothing has left this computer.")
}

/* Files wait for those that were chosen before them. */
function enqueue(list) {
  const files = [...list] // the input forgets its list
  busy = busy.then(() => predictFiles(files))
}

/* Predicts one picture of the video after the other, until the camera is off. */
async function follow(stream) {
  for (let update; camera.stream === stream; await new Promise(requestAnimationFrame)) {
    const start = performance.now(), image = pixelsOf(video, video.videoWidth, video.videoHeight)
    const found = await predictImage(network, image)
    if (camera.stream !== stream) return
    if (update) await update(image.canvas, found)
    else update = await show({name: "Camera"}, found, image.canvas)
    if (camera.stream === stream) say(`${(1000 / (performance.now() - start)).toFixed(1)} images per second`)
  }
}

async function startCamera() {
  const stream = await camera.start()
  if (!stream) return
  part("camera").textContent = "Stop the camera"
  part("camera").setAttribute("aria-pressed", "true")
  part("drop").classList.add("small")
  await follow(stream)
}

function stopCamera() {
  if (camera.stream) say("The camera is off.")
  camera.stop()
  part("camera").textContent = "Use the camera"
  part("camera").setAttribute("aria-pressed", "false")
}

async function switchCamera() {
  if (camera.stream) return stopCamera()
  try {
    await startCamera()
  } catch (error) {
    stopCamera()
    say(`The camera cannot be used: ${error.message}.`)
  }
}

function listen() {
  const input = part("files"), drop = part("drop")
  part("pick").onclick = () => input.click()
  input.onchange = () => { enqueue(input.files); input.value = "" }
  part("camera").hidden = !(navigator.mediaDevices && navigator.mediaDevices.getUserMedia)
  part("camera").onclick = switchCamera
  document.ondragover = event => { event.preventDefault(); drop.classList.add("over") }
  document.ondragleave = event => { if (!event.relatedTarget) drop.classList.remove("over") }
  document.ondrop = event => {
    event.preventDefault()
    drop.classList.remove("over")
    enqueue(event.dataTransfer.files)
  }
  document.onpaste = event => enqueue(event.clipboardData.files)
}

const ready = openNetwork().then(opened => {
  network = opened
  for (const id of ["pick", "camera"]) part(id).disabled = false
  listen()
  say("Ready. Images stay on this computer: this page needs no network.")
}, error => {
  say(`The model cannot be opened in this browser: ${error.message}`)
  throw error
})

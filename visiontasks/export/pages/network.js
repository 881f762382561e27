/* The network: onnxruntime-web and the model, which are in this file, and what is done before and after it. */
const spec = JSON.parse(document.getElementById("spec").textContent)

/* Returns the bytes of an element with the base64 text of gzip-compressed data, and empties it. */
async function unpack(id) {
  const element = document.getElementById(id), text = atob(element.textContent.trim())
  element.remove()
  const packed = new Uint8Array(text.length)
  for (let place = 0; place < packed.length; place++) packed[place] = text.charCodeAt(place)
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer()
}

async function openNetwork() {
  const address = URL.createObjectURL(new Blob([await unpack("runtime")], {type: "text/javascript"}))
  const ort = await import(address)
  URL.revokeObjectURL(address)
  ort.env.wasm.wasmBinary = await unpack("wasm")
  ort.env.wasm.numThreads = 1 // a page from a disk is not isolated, so that it has no shared memory
  const session = await ort.InferenceSession.create(await unpack("model"), {executionProviders: ["wasm"]})
  const run = async picture => {
    const image = new ort.Tensor("uint8", picture.data, [1, 3, picture.height, picture.width])
    const found = await session.run({image})
    return spec.keys.map(key => ({dims: found[key].dims.slice(1), data: found[key].data}))
  }
  let last = Promise.resolve()
  return picture => { // one at a time: a file may be dropped while the camera runs
    last = last.then(() => run(picture), () => run(picture))
    return last
  }
}

/* Returns the pixels of an ImageBitmap or video as they are in the file; transparent ones show white behind them. */
function pixelsOf(source, width = source.width, height = source.height) {
  if (width * height > spec.max_pixels) throw new Error("The image has too many pixels. Scale it down.")
  const canvas = Object.assign(document.createElement("canvas"), {width, height})
  const pen = canvas.getContext("2d", {willReadFrequently: true})
  pen.fillStyle = "white"
  pen.fillRect(0, 0, width, height)
  pen.drawImage(source, 0, 0)
  return {height, width, canvas, data: pen.getImageData(0, 0, width, height).data}
}

/* Reads an image file as `predict` does: upright, and without the correction of a color profile. */
const readImage = file => createImageBitmap(file, {colorSpaceConversion: "none", imageOrientation: "from-image"})

function wholePicture(image) {
  const rgb = opaque(image), size = image.height * image.width
  const data = new Uint8Array(3 * size)
  for (let place = 0; place < size; place++) {
    for (let channel = 0; channel < 3; channel++) data[channel * size + place] = rgb[3 * place + channel]
  }
  return {height: image.height, width: image.width, data}
}

/* Predicts an image {height, width, data} in the form that `showResult` draws. */
async function predictImage(network, image) {
  const frame = {height: image.height, width: image.width, size: heightWidth(spec.image_size), mode: spec.resize}
  const outputs = await network(spec.resizes ? wholePicture(image) : toPicture(image, spec))
  const parts = spec.keys.map((key, place) => TARGETS[key](outputs[place], frame, spec.names[key]))
  return Object.assign({}, ...parts)
}

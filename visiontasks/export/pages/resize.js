/* The pixels that a network sees, equal to those of core/resize.py, which resizes with OpenCV.

An image is {height, width, data}: a Uint8ClampedArray of RGBA as of a canvas. A frame is {height, width, size, mode}, see
core/geometry.py; a size is [height, width]. */
const FILL = 114, MOST = 16, SMALL = 1e-3
const f32 = Math.fround

/* Python's round: halves go to the even neighbor. */
function round(value) {
  const low = Math.floor(value)
  return value - low === 0.5 ? low + (low % 2) : Math.round(value)
}

const heightWidth = size => Array.isArray(size) ? size : [size, size]

function placementOf({height, width, size: [tall, wide], mode}) {
  if (mode === "stretch") return {height: tall, width: wide, top: 0, left: 0}
  const scale = (mode === "letterbox" ? Math.min : Math.max)(tall / height, wide / width)
  const newHeight = Math.max(1, round(height * scale)), newWidth = Math.max(1, round(width * scale))
  const top = Math.floor((tall - newHeight) / 2), left = Math.floor((wide - newWidth) / 2)
  return {height: newHeight, width: newWidth, top, left}
}

/* The two neighbors of each new pixel and the weight of the second one, float32. */
function neighbors(length, newLength) {
  const first = new Int32Array(newLength), second = new Int32Array(newLength), weight = new Float32Array(newLength)
  for (let place = 0; place < newLength; place++) {
    const at = f32((place + 0.5) * (length / newLength) - 0.5), low = Math.floor(at)
    first[place] = Math.min(Math.max(low, 0), length - 1)
    second[place] = Math.min(Math.max(low + 1, 0), length - 1)
    weight[place] = f32(at - low)
  }
  return {first, second, weight}
}

/* OpenCV's INTER_LINEAR of 8 bits: weights of 11 bits, and sums that are cut off twice. */
function linear({height, width, data}, newHeight, newWidth) {
  const down = neighbors(height, newHeight), right = neighbors(width, newWidth)
  const fixed = values => Int32Array.from(values, value => round(f32(value) * 2048))
  const after = fixed(right.weight), before = fixed(right.weight.map(value => 1 - value))
  right.first.forEach((column, x) => { // at the left and right border the weights are not used
    if (column === right.second[x]) { before[x] = 2048; after[x] = 0 }
  })
  const resizeRow = (y, values) => {
    for (let x = 0, place = 0; x < newWidth; x++) {
      const one = 4 * (y * width + right.first[x]), other = 4 * (y * width + right.second[x])
      for (let channel = 0; channel < 3; channel++, place++) {
        values[place] = (data[one + channel] * before[x] + data[other + channel] * after[x]) >> 4
      }
    }
    return y
  }
  const rows = [new Int32Array(3 * newWidth), new Int32Array(3 * newWidth)], held = [-1, -1]
  const below = fixed(down.weight), above = fixed(down.weight.map(value => 1 - value))
  const out = new Uint8Array(3 * newHeight * newWidth)
  for (let y = 0, place = 0; y < newHeight; y++) {
    const wanted = [down.first[y], down.second[y]]
    if (held[1] === wanted[0]) { rows.reverse(); held.reverse() }
    for (const end of [0, 1]) if (held[end] !== wanted[end]) held[end] = resizeRow(wanted[end], rows[end])
    const [upper, lower] = rows
    for (let x = 0; x < upper.length; x++, place++) {
      out[place] = (((above[y] * upper[x]) >> 16) + ((below[y] * lower[x]) >> 16) + 2) >> 2
    }
  }
  return out
}

/* The pixels that each new pixel covers, from `starts` on, and their shares, float32. */
function covered(length, newLength) {
  const scale = length / newLength, places = [], shares = [], starts = [0]
  const add = (place, share) => { places.push(place); shares.push(share) }
  for (let place = 0; place < newLength; place++) {
    const start = place * scale, end = start + scale, cell = Math.min(scale, length - start)
    const last = Math.min(Math.floor(end), length - 1), first = Math.min(Math.ceil(start), last)
    if (first - start > SMALL) add(first - 1, (first - start) / cell)
    for (let at = first; at < last; at++) add(at, 1 / cell)
    if (end - last > SMALL) add(last, Math.min(end - last, 1, cell) / cell)
    starts.push(places.length)
  }
  return {places: Int32Array.from(places), shares: Float32Array.from(shares), starts}
}

/* OpenCV's INTER_AREA of 8 bits, for images that shrink. */
function area({height, width, data}, newHeight, newWidth) {
  const out = new Uint8Array(3 * newHeight * newWidth)
  const whole = height % newHeight === 0 && width % newWidth === 0
  if (whole) return blocks(data, width, height / newHeight, width / newWidth, newHeight, newWidth, out)
  const right = covered(width, newWidth), down = covered(height, newHeight), sums = new Float32Array(3 * newWidth)
  const addRow = (row, share) => {
    for (let x = 0; x < newWidth; x++) {
      let red = 0, green = 0, blue = 0
      for (let at = right.starts[x]; at < right.starts[x + 1]; at++) {
        const from = 4 * (row * width + right.places[at]), part = right.shares[at]
        red = f32(red + f32(data[from] * part))
        green = f32(green + f32(data[from + 1] * part))
        blue = f32(blue + f32(data[from + 2] * part))
      }
      sums[3 * x] += f32(red * share)
      sums[3 * x + 1] += f32(green * share)
      sums[3 * x + 2] += f32(blue * share)
    }
  }
  for (let y = 0; y < newHeight; y++) {
    sums.fill(0)
    for (let at = down.starts[y]; at < down.starts[y + 1]; at++) addRow(down.places[at], down.shares[at])
    for (let place = 0; place < sums.length; place++) out[y * sums.length + place] = Math.min(255, round(sums[place]))
  }
  return out
}

/* The means of blocks of whole pixels. */
function blocks(data, width, tall, wide, newHeight, newWidth, out) {
  const share = f32(1 / (tall * wide))
  for (let y = 0, place = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      for (let channel = 0; channel < 3; channel++, place++) {
        let sum = 0
        for (let row = y * tall; row < (y + 1) * tall; row++) {
          for (let column = x * wide; column < (x + 1) * wide; column++) sum += data[4 * (row * width + column) + channel]
        }
        out[place] = tall === 2 && wide === 2 ? (sum + 2) >> 2 : round(f32(sum * share))
      }
    }
  }
  return out
}

function opaque({height, width, data}) {
  const out = new Uint8Array(3 * height * width)
  for (let from = 0, to = 0; to < out.length; from += 4) for (let end = 0; end < 3; end++) out[to++] = data[from + end]
  return out
}

function resized(image, newHeight, newWidth) {
  if (image.height === newHeight && image.width === newWidth) return opaque(image)
  const shrinks = Math.min(image.height / newHeight, image.width / newWidth) >= 2
  return (shrinks ? area : linear)(image, newHeight, newWidth)
}

/* The picture of an image as the network takes it: Uint8Array of (3, height, width) and its sides; see `to_picture`. */
function toPicture(image, spec) {
  const [height, width] = heightWidth(spec.image_size), share = spec.crop_share || 1
  const size = [Math.trunc(height / share), Math.trunc(width / share)]
  const place = placementOf({height: image.height, width: image.width, size, mode: spec.resize})
  if (place.height * place.width > MOST * Math.max(image.height * image.width, size[0] * size[1])) {
    throw new Error("The image is too long and thin for this model.")
  }
  const inside = resized(image, place.height, place.width), data = new Uint8Array(3 * height * width).fill(FILL)
  const top = place.top - Math.floor((size[0] - height) / 2), left = place.left - Math.floor((size[1] - width) / 2)
  const rows = [Math.max(0, top), Math.min(height, top + place.height)]
  const columns = [Math.max(0, left), Math.min(width, left + place.width)]
  for (let y = rows[0]; y < rows[1]; y++) {
    for (let x = columns[0]; x < columns[1]; x++) {
      const from = 3 * ((y - top) * place.width + x - left), to = y * width + x
      for (let channel = 0; channel < 3; channel++) data[channel * height * width + to] = inside[from + channel]
    }
  }
  return {height, width, data}
}

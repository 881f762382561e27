/* Predictions from the outputs of a network, equal to those of targets/, in the form that `showResult` draws.

An output is {dims, data}: a Float32Array, without the axis of the batch. */
const CANDIDATES = 300, LEAST_SCORE = 0.01, SUPPRESSED = 0.6, MOST_OBJECTS = 100, STRIDE = 4

const shares = (names, values) => Object.fromEntries(names.map((name, place) => [name, values[place]]))

/* Moves a box from 0..1 of the picture to pixels of the image; see `Frame.to_image`. */
function toImage(box, frame) {
  const place = placementOf(frame), [tall, wide] = frame.size
  const scale = [place.width / frame.width, place.height / frame.height], offset = [place.left, place.top]
  return [wide, tall, wide, tall].map((side, end) => {
    const value = (f32(box[end] * side) - offset[end % 2]) / scale[end % 2]
    return f32(Math.min(Math.max(value, 0), end % 2 ? frame.height : frame.width))
  })
}

/* Resizes planes of float32 bilinearly, row by row: `take` gets the number of each row and its values, plane by plane.
   A plane is {data, start, stride, height, width}: a rectangle of a larger array. */
function resizeRows(planes, height, width, take) {
  const {height: tall, width: wide} = planes[0], right = neighbors(wide, width), down = neighbors(tall, height)
  const fill = (plane, y, values) => {
    const start = plane.start + y * plane.stride
    for (let x = 0; x < width; x++) {
      const before = plane.data[start + right.first[x]], after = plane.data[start + right.second[x]]
      values[x] = before + (after - before) * right.weight[x]
    }
  }
  const make = () => planes.map(() => new Float32Array(width))
  let upper = make(), lower = make(), held = [-1, -1]
  const mixed = make()
  for (let y = 0; y < height; y++) {
    const wanted = [down.first[y], down.second[y]], share = down.weight[y]
    if (held[1] === wanted[0]) { [upper, lower] = [lower, upper]; held.reverse() }
    for (const [end, rows] of [[0, upper], [1, lower]]) {
      if (held[end] !== wanted[end]) planes.forEach((plane, number) => fill(plane, wanted[end], rows[number]))
      held[end] = wanted[end]
    }
    mixed.forEach((values, number) => {
      const above = upper[number], below = lower[number]
      for (let x = 0; x < width; x++) values[x] = above[x] + (below[x] - above[x]) * share
    })
    take(y, mixed)
  }
}

/* The part of planes (count, h, w) that shows the image; see `restore_mask`. */
function insidePlanes({dims: [count, height, width], data}, frame) {
  const place = placementOf(frame), top = Math.max(0, place.top), left = Math.max(0, place.left)
  return Array.from({length: count}, (_, number) => ({
    data, start: number * height * width + top * width + left, stride: width,
    height: Math.min(height - top, place.height), width: Math.min(width - left, place.width),
  }))
}

function restoredMask(output, frame) {
  const data = new Uint8Array(frame.height * frame.width)
  resizeRows(insidePlanes(output, frame), frame.height, frame.width, (y, rows) => {
    for (let x = 0; x < frame.width; x++) {
      let best = 0
      for (let label = 1; label < rows.length; label++) if (rows[label][x] > rows[best][x]) best = label
      data[y * frame.width + x] = best
    }
  })
  return {width: frame.width, height: frame.height, data}
}

function maskShares({data}, names) {
  const counts = new Float64Array(256)
  data.forEach(label => { counts[label]++ })
  return shares(names, counts.map(count => count / data.length))
}

function iou(one, other) {
  const side = (start, end) => Math.max(0, Math.min(one[end], other[end]) - Math.max(one[start], other[start]))
  const size = box => (box[2] - box[0]) * (box[3] - box[1]), inside = side(0, 2) * side(1, 3)
  return inside / Math.max(size(one) + size(other) - inside, 1.1754943508222875e-38)
}

const areSame = (one, other) => one.label === other.label && iou(one.box, other.box) > SUPPRESSED

function withoutDuplicates(found) {
  const kept = []
  for (const one of found) if (!kept.some(other => areSame(other, one))) kept.push(one)
  return kept
}

/* The best objects without duplicates, the best first; see `best_candidates`. */
function bestCandidates({dims: [rows, columns], data}) {
  const [tall, wide] = data, classes = columns - 4 - tall * wide
  let found = []
  for (let row = 1; row < rows; row++) {
    for (let label = 0; label < classes; label++) {
      const score = data[row * columns + 4 + label]
      if (score > LEAST_SCORE) found.push({row, label, score, box: data.subarray(row * columns, row * columns + 4)})
    }
  }
  found = found.sort((one, other) => other.score - one.score).slice(0, CANDIDATES)
  const voted = withoutDuplicates(found).slice(0, MOST_OBJECTS).map(one => {
    const votes = found.filter(other => other === one || areSame(one, other))
    const total = votes.reduce((sum, vote) => sum + vote.score, 0)
    const box = [0, 1, 2, 3].map(end => votes.reduce((sum, vote) => sum + vote.score * vote.box[end], 0) / total)
    const cells = data.subarray((one.row + 1) * columns - tall * wide, (one.row + 1) * columns)
    return {label: one.label, score: one.score, box: box.map(f32), cells, tall, wide}
  })
  return withoutDuplicates(voted)
}

/* The pixels of an object inside its box; see `_restored` in targets/objects.py. */
function objectMask({cells, tall, wide}, box, frame) {
  const [height, width] = [tall * STRIDE, wide * STRIDE], whole = new Float32Array(height * width)
  const plane = {data: cells, start: 0, stride: wide, height: tall, width: wide}
  resizeRows([plane], height, width, (y, [row]) => whole.set(row, y * width))
  const inside = insidePlanes({dims: [1, height, width], data: whole}, frame)[0]
  inside.height = Math.min(inside.height, frame.size[0] - Math.max(0, placementOf(frame).top))
  inside.width = Math.min(inside.width, frame.size[1] - Math.max(0, placementOf(frame).left))
  const [left, top, right, bottom] = [Math.floor(box[0]), Math.floor(box[1]), Math.ceil(box[2]), Math.ceil(box[3])]
  const mask = {left, top, width: right - left, height: bottom - top}
  mask.data = new Uint8Array(mask.width * mask.height)
  resizeRows([inside], frame.height, frame.width, (y, [row]) => {
    if (y < top || y >= bottom) return
    for (let x = left; x < right; x++) mask.data[(y - top) * mask.width + x - left] = row[x] > 0 ? 1 : 0
  })
  return mask
}

const TARGETS = {
  label({data}, frame, names) {
    const best = data.reduce((place, value, other) => value > data[place] ? other : place, 0)
    return {label: names[best], score: data[best], probabilities: shares(names, data)}
  },
  labels({data}, frame, names) {
    return {labels: shares(names, data), thresholds: shares(names, data.subarray(names.length))}
  },
  value({data}, frame, names) {
    return {value: shares(names, data)}
  },
  bbox({data}, frame) {
    const bbox = toImage(data, frame)
    return data.length > 4 ? {bbox: data[4] < data[5] ? null : bbox, presence: data[4]} : {bbox}
  },
  mask(output, frame, names) {
    const mask = restoredMask(output, frame)
    return {mask, shares: maskShares(mask, names)}
  },
  objects(output, frame, names) {
    const taken = bestCandidates(output).filter(({label, score}) => score >= output.data[4 + label])
    return {objects: taken.map(one => {
      const bbox = toImage(one.box, frame)
      const object = {bbox, label: names[one.label], score: one.score}
      return one.tall ? {...object, mask: objectMask(one, bbox, frame)} : object
    })}
  },
}

/* The colors of classes, those of pictures that `predict` draws: as in Pascal VOC, made of the bits of the index. */
const colors = (() => {
  const bits = (index, channel) => [0, 1, 2].map(bit => ((index >> (3 * bit + channel)) & 1) * (128 >> bit))
  const place = (list, name) => Math.max(0, (list || []).indexOf(name))
  const ofClass = index => [0, 1, 2].map(channel => bits(index, channel).reduce((sum, bit) => sum + bit))
  return {
    ofClass,
    ofMask: (name, names) => ofClass(place(names.mask_names, name)),
    ofObject: (object, names) => ofClass(1 + place(names.class_names, object.label)),
    css: rgb => `rgb(${rgb.join(",")})`,
  }
})()

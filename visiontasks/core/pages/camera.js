/* The camera, which a button switches on and a video shows.

cameraOf(button, video) returns:
- start(): asks the person for the camera; the button is disabled until the browser answers. It returns a promise of the
  stream that the video plays, or of null if the camera was stopped meanwhile. An error means that there is no camera.
- stop(): ends the camera, also one that the person allows only after this.
- stream: what the video plays, or null. */
function cameraOf(button, video) {
  const camera = {stream: null, start, stop}
  const end = stream => stream.getTracks().forEach(track => track.stop())
  let asked = 0

  function stop() {
    asked++
    if (camera.stream) end(camera.stream)
    camera.stream = video.srcObject = null
  }

  async function play(number) {
    const stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}})
    if (number !== asked) return end(stream)
    camera.stream = video.srcObject = stream
    await video.play()
  }

  async function start() {
    const number = ++asked, focused = document.activeElement === button
    button.disabled = true
    try {
      await play(number)
    } catch (error) {
      if (number === asked) {
        stop()
        throw error
      }
    } finally {
      button.disabled = false
      if (focused && [button, document.body].includes(document.activeElement)) button.focus()
    }
    return number === asked ? camera.stream : null
  }

  return camera
}

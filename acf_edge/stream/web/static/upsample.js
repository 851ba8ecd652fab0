// The captured picture at the size of the enhanced one: bicubic, as the figures compare with.
//
// What 2D canvases call "high" is Mitchell's filter at best, which is softer than bicubic
// (and bilinear for video frames), and would flatter the engine. So WebGL does it where
// there is a GPU; without one, the softer filter has to do.

const VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(4.0 * corner - 1.0, 0.0, 1.0);
}`;

// Keys' filter with a = -0.5, edges repeated.
const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D source;
uniform vec2 small;
uniform vec2 large;
out vec4 colour;
vec4 weights(float t) {
  return vec4(
    ((-0.5 * t + 1.0) * t - 0.5) * t,
    (1.5 * t - 2.5) * t * t + 1.0,
    ((-1.5 * t + 2.0) * t + 0.5) * t,
    (0.5 * t - 0.5) * t * t);
}
void main() {
  vec2 place = vec2(gl_FragCoord.x, large.y - gl_FragCoord.y) * small / large - 0.5;
  vec2 first = floor(place);
  vec4 across = weights(place.x - first.x);
  vec4 down = weights(place.y - first.y);
  ivec2 last = ivec2(small) - 1;
  vec3 sum = vec3(0.0);
  for (int y = 0; y < 4; y += 1) {
    vec3 row = vec3(0.0);
    for (int x = 0; x < 4; x += 1) {
      ivec2 at = clamp(ivec2(first) + ivec2(x - 1, y - 1), ivec2(0), last);
      row += across[x] * texelFetch(source, at, 0).rgb;
    }
    sum += down[y] * row;
  }
  colour = vec4(clamp(sum, 0.0, 1.0), 1.0);
}`;

class ByGpu {
  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.name = "bicubic";
    this.prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.prepare());
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.small = gl.getUniformLocation(program, "small");
    this.large = gl.getUniformLocation(program, "large");
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.NEAREST],
      [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE],
      [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
  }

  draw({ image, width, height }) {
    const { gl, canvas } = this;
    if (gl.isContextLost()) return;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.uniform2f(this.small, width, height);
    gl.uniform2f(this.large, canvas.width, canvas.height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

class ByCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.name = "soft bicubic (no GPU)";
    this.context = canvas.getContext("2d", { alpha: false });
    // Of video frames the filter is always bilinear; of another canvas it is not.
    this.small = document.createElement("canvas").getContext("2d", { alpha: false });
  }

  draw({ image, width, height }) {
    const { small, context, canvas } = this;
    if (small.canvas.width !== width || small.canvas.height !== height) {
      small.canvas.width = width;
      small.canvas.height = height;
    }
    small.drawImage(image, 0, 0, width, height, 0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(small.canvas, 0, 0, canvas.width, canvas.height);
  }
}

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Whether a GPU draws what WebGL is told, asked of a canvas of its own. */
function hasGpu() {
  const gl = document.createElement("canvas").getContext("webgl2", {
    failIfMajorPerformanceCaveat: true,
  });
  if (!gl) return false;
  const more = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(more ? more.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return !SOFTWARE.test(String(name));
}

/** software: take WebGL even where the processor does it, which is slow. */
export function upsampler(canvas, software) {
  if (!software && !hasGpu()) return new ByCanvas(canvas);
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
  return gl ? new ByGpu(canvas, gl) : new ByCanvas(canvas);
}

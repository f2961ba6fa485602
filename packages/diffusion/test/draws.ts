/** The generator of tools/golden/diffusion-lightningdit.py: numbers in [-0.5, 0.5) as float32. */
export function draw(seed: number, shape: readonly number[]): Float32Array {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  for (let i = 0; i < values.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = state / 2 ** 32 - 0.5;
  }
  return values;
}

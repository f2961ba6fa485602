/**
 * Seeded random numbers drawn from named streams.
 *
 * A stream is a pure function of its seed and name, so nothing has to be saved to resume: the noise
 * of training step 1234 is `createRandom(seed, "noise", 1234)`, whoever asks and whenever.
 * Generator: xoshiro128** 1.1 (Blackman and Vigna, 2018), seeded through a 128-bit FNV-like mix of the name.
 */

export interface Random {
  /** A number in [0, 1) with 32 random bits. */
  uniform(): number;
  /** A standard normal number. */
  normal(): number;
  /** A whole number in [0, n), without modulo bias. */
  integer(n: number): number;
  /** The numbers 0 to n - 1 in random order (Fisher-Yates). */
  permutation(n: number): Uint32Array;
  /** `length` standard normal numbers. */
  normals(length: number): Float32Array;
}

/** A generator for the stream called `name` (several parts are joined) under `seed`, a whole number. */
export function createRandom(seed: number, ...name: readonly (string | number)[]): Random {
  const state = seedState(`${seed}/${name.join("/")}`);
  let spare: number | undefined;

  function next(): number {
    const [, s1, , s3] = state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const shifted = s1 << 9;
    state[2]! ^= state[0]!;
    state[3]! ^= s1;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotateLeft(s3 ^ s1, 11);
    return result;
  }

  const uniform = () => next() / 2 ** 32;

  // Box-Muller; the second number of a pair is kept for the next call.
  function normal(): number {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log((next() + 1) / 2 ** 32));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  function integer(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    let value = next();
    while (value >= limit) value = next();
    return value % n;
  }

  return {
    uniform,
    normal,
    integer,
    permutation(n) {
      const order = Uint32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = integer(i + 1);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      return order;
    },
    normals(length) {
      const out = new Float32Array(length);
      for (let i = 0; i < length; i++) out[i] = normal();
      return out;
    },
  };
}

function rotateLeft(x: number, k: number): number {
  return (x << k) | (x >>> (32 - k));
}

/** Four 32-bit words from a string: FNV-1a with four offsets, each finished by murmur3's mixer. */
function seedState(text: string): Int32Array {
  const state = new Int32Array(4);
  for (let word = 0; word < 4; word++) {
    let hash = (0x811c9dc5 + Math.imul(word, 0x9e3779b9)) | 0;
    for (let i = 0; i < text.length; i++) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    state[word] = hash ^ (hash >>> 16);
  }
  if (state.every((word) => word === 0)) state[0] = 1; // the one state from which xoshiro never leaves
  return state;
}

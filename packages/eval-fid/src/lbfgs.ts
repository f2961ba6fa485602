/**
 * Limited-memory BFGS (Liu and Nocedal, 1989) with a weak Wolfe line search by bisection (Lewis and
 * Overton, 2013), which keeps every curvature pair positive. In float64 and without randomness.
 */

/** Returns the value at `x` and writes the gradient there. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

export interface LbfgsOptions {
  /** Most iterations. */
  readonly iterations: number;
  /** Stops when no component of the gradient is larger. */
  readonly tolerance: number;
}

export interface LbfgsResult {
  readonly x: Float64Array;
  readonly value: number;
  readonly iterations: number;
  /** Whether the gradient fell below the tolerance. */
  readonly converged: boolean;
}

interface CurvaturePair {
  readonly step: Float64Array;
  readonly change: Float64Array; // of the gradient
  readonly product: number; // step . change, positive
}

const memory = 12;
const maxTrials = 40;

/** Minimises a smooth function from `start`. */
export function minimiseLbfgs(
  objective: Objective,
  start: Float64Array,
  options: LbfgsOptions,
): LbfgsResult {
  let x = start.slice();
  let gradient = new Float64Array(x.length);
  let value = objective(x, gradient);
  const pairs: CurvaturePair[] = [];

  let iteration = 0;
  for (; iteration < options.iterations && largest(gradient) > options.tolerance; iteration++) {
    const direction = descentDirection(gradient, pairs);
    const slope = dot(gradient, direction);
    if (!(slope < 0)) break; // at the limit of float64
    const trial = new Float64Array(x.length);
    const trialGradient = new Float64Array(x.length);
    let trialValue = value;
    let low = 0;
    let high = Number.POSITIVE_INFINITY;
    let rate = pairs.length > 0 ? 1 : Math.min(1, 1 / Math.sqrt(-slope));
    let trials = 0;
    for (; trials < maxTrials; trials++) {
      for (let i = 0; i < x.length; i++) trial[i] = x[i]! + rate * direction[i]!;
      trialValue = objective(trial, trialGradient);
      if (!(trialValue <= value + 1e-4 * rate * slope)) high = rate;
      else if (dot(trialGradient, direction) < 0.9 * slope) low = rate;
      else break;
      rate = high < Number.POSITIVE_INFINITY ? (low + high) / 2 : 2 * low;
    }
    if (trials === maxTrials) break; // no progress that float64 can tell from rounding
    const step = trial.map((v, i) => v - x[i]!);
    const change = trialGradient.map((v, i) => v - gradient[i]!);
    pairs.push({ step, change, product: dot(step, change) });
    if (pairs.length > memory) pairs.shift();
    x = trial;
    gradient = trialGradient;
    value = trialValue;
  }
  return { x, value, iterations: iteration, converged: largest(gradient) <= options.tolerance };
}

/** The two-loop recursion: minus the approximate inverse Hessian times the gradient. */
function descentDirection(
  gradient: Float64Array,
  pairs: readonly CurvaturePair[],
): Float64Array<ArrayBuffer> {
  const direction = gradient.map((g) => -g);
  const weights = new Float64Array(pairs.length);
  for (let k = pairs.length - 1; k >= 0; k--) {
    const { step, change, product } = pairs[k]!;
    weights[k] = dot(step, direction) / product;
    addScaled(direction, change, -weights[k]!);
  }
  const last = pairs.at(-1);
  if (last) {
    const scale = last.product / dot(last.change, last.change);
    for (let i = 0; i < direction.length; i++) direction[i]! *= scale;
  }
  for (let k = 0; k < pairs.length; k++) {
    const { step, change, product } = pairs[k]!;
    addScaled(direction, step, weights[k]! - dot(change, direction) / product);
  }
  return direction;
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function addScaled(target: Float64Array, x: Float64Array, scale: number): void {
  for (let i = 0; i < target.length; i++) target[i]! += scale * x[i]!;
}

function largest(x: Float64Array): number {
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]!));
  return most;
}

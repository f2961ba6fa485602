import "./gradients/index.ts";

export { stopGradient, valueAndGrad } from "./gradients/value-and-grad.ts";
export * from "./primitives/index.ts";

export {
  createLpips,
  type Lpips,
  type LpipsFiles,
  type LpipsWeights,
  loadLpips,
} from "./load.ts";
export { applyLpips, checkLpipsParameters, type LpipsConfig, lpipsKeys } from "./lpips.ts";
export { applyNetwork, type NetworkName } from "./network.ts";

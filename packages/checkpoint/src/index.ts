export { writeFileAtomic } from "./atomic-file.ts";
export { loadParameters } from "./parameters.ts";
export {
  parseSafetensors,
  readSafetensors,
  type Safetensors,
  serializeSafetensors,
  writeSafetensors,
} from "./safetensors.ts";

export { writeFileAtomic } from "./atomic-file.ts";
export { mapSafetensors } from "./mapped-safetensors.ts";
export { loadParameters } from "./parameters.ts";
export {
  parseSafetensors,
  readSafetensors,
  type Safetensors,
  serializeSafetensors,
  writeSafetensors,
} from "./safetensors.ts";

// Why base images cannot be made here, for the terminal and for programs: a code, a sentence and what to do.

export type ImagesRefusedCode =
  | "images_need_docker"
  | "images_need_root"
  | "program_missing"
  | "debian_sources_missing"
  | "docker_unreachable"
  | "base_unknown"
  | "base_not_made"
  | "base_record_damaged";

export class ImagesRefused extends Error {
  readonly code: ImagesRefusedCode;
  readonly hint: string;
  constructor(code: ImagesRefusedCode, sentence: string, hint: string, options: { cause?: unknown } = {}) {
    super(sentence, options);
    this.name = "ImagesRefused";
    this.code = code;
    this.hint = hint;
  }
}

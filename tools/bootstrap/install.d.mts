// Types of install.mjs for its test.
export function whatFailed(output: string, root: string): [sentence: string, hint: string];

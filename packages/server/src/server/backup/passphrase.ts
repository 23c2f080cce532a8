// Where a passphrase comes from: a file, standard input, or the terminal without an echo. Never from the command line, which every user of
// the machine may read, nor from a variable that children inherit.
import { readFileSync } from "node:fs";
import process from "node:process";
import { text } from "node:stream/consumers";
import { BackupRefused } from "./format.ts";
import { shortestPassphrase } from "./keys.ts";

/** `file` is `-` for standard input. Throws `BackupRefused` for one that is too short. */
export async function readPassphrase(file: string): Promise<string> {
  const content = file === "-" ? await text(process.stdin) : readFileSync(file, "utf8");
  return checked(content.replace(/\r?\n$/, ""));
}

/** Asks on the terminal, twice when it is a new one. */
export async function askPassphrase(twice: boolean): Promise<string> {
  if (process.stdin.isTTY !== true)
    throw new BackupRefused(
      "There is no terminal to ask for the passphrase.",
      "Give it with --passphrase-file, or `--passphrase-file -` for standard input.",
    );
  const first = checked(await askHidden("Passphrase for the keys: "));
  if (twice && (await askHidden("Once more: ")) !== first) throw new BackupRefused("The two passphrases differ.", "Try again.");
  return first;
}

function checked(passphrase: string): string {
  if (passphrase.length < shortestPassphrase)
    throw new BackupRefused(
      `The passphrase is shorter than ${shortestPassphrase} characters.`,
      "Choose a longer one: whoever has the file can try as many as they like.",
    );
  return passphrase;
}

function askHidden(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(question);
  stdin.setRawMode(true);
  stdin.setEncoding("utf8");
  return new Promise((resolve, reject) => {
    let typed = "";
    const done = (finish: () => void): void => {
      stdin.off("data", take).setRawMode(false).pause();
      stderr.write("\n");
      finish();
    };
    const take = (chunk: string): void => {
      for (const letter of chunk) {
        if (letter === "\r" || letter === "\n")
          return done(() => {
            resolve(typed);
          });
        if (letter === "\u0003" || letter === "\u0004")
          return done(() => {
            reject(new BackupRefused("No passphrase was given.", "Nothing was changed."));
          });
        typed = letter === "\u007f" ? typed.slice(0, -1) : typed + letter;
      }
    };
    stdin.on("data", take).resume();
  });
}

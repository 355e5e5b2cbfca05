import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type Sample = { readonly name: string; readonly path: string; readonly text: string };

const FOLDER = join(import.meta.dirname, '../corpus');

/** Files that wg-quick(8) takes, each named as its link is. The addresses are of documentation, the keys of nobody. */
export const corpus: readonly Sample[] = readdirSync(FOLDER).map((file) => {
  const path = join(FOLDER, file);
  return { name: file.replace(/\.conf$/, ''), path, text: readFileSync(path, 'utf8') };
});

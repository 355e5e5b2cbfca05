import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { CulvertError, InputError } from '../../errors.ts';
import { type Config, parseConfig } from './config.ts';

/** bytes: a config is a page or two */
const FILE_MAX = 1_048_576;

/** What a command line says over the file. */
export type Overrides = {
  readonly name?: string;
  readonly stateDir?: string;
  readonly runDir?: string;
  /** in place of `cluster.registry` */
  readonly registry?: string;
};

/**
 * The config in `file` (JSON where its name ends so, YAML otherwise) or, without one, the defaults.
 *
 * @throws InputError `config_unreadable`, `config_syntax`, `invalid_config` or the code of the value that is wrong;
 *   the message names file and key
 */
export async function loadConfig(file: string | undefined, overrides: Overrides = {}): Promise<Config> {
  if (file === undefined) return parseConfig(overridden({}, overrides));
  const content = await parseText(readText(file), file);
  try {
    const isObject = typeof content === 'object' && content !== null && !Array.isArray(content);
    // Checked before it is overridden: a mistake in the file is one whatever the command line says.
    const config = parseConfig(content);
    return isObject && Object.keys(overrides).length > 0 ? parseConfig(overridden(content, overrides)) : config;
  } catch (error) {
    if (!(error instanceof CulvertError)) throw error;
    const { code, message, field } = error;
    const where = field === undefined || message.includes(field) ? file : `${field} of ${file}`;
    throw new InputError(code, `${message} (in ${where})`, { ...(field === undefined ? {} : { field }), cause: error });
  }
}

function overridden(content: object, { registry, ...overrides }: Overrides): object {
  if (registry === undefined) return { ...content, ...overrides };
  const { cluster } = content as { readonly cluster?: object };
  return { ...content, ...overrides, cluster: { ...cluster, registry } };
}

function readText(file: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'r');
    const status = fstatSync(descriptor);
    if (!status.isFile()) throw new InputError('config_unreadable', `Cannot read config ${file}: it is not a file`);
    if (status.size > FILE_MAX) {
      const message = `Cannot read config ${file}: it has ${status.size} bytes, want at most ${FILE_MAX}`;
      throw new InputError('config_unreadable', message);
    }
    return readFileSync(descriptor, 'utf8');
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : String(code ?? cause);
    throw new InputError('config_unreadable', `Cannot read config ${file}: ${why}`, { cause });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** An empty file says nothing, which is allowed. */
async function parseText(text: string, file: string): Promise<unknown> {
  try {
    if (extname(file) === '.json') return JSON.parse(text);
    const { parse } = await import('yaml');
    return parse(text, { maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    const [why] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    throw new InputError('config_syntax', `Cannot read config ${file}: ${why?.replace(/:$/, '')}`, { cause });
  }
}

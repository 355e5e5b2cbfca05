import { InputError } from '../../errors.ts';
import { shown } from './refusal.ts';

/** What wg-quick(8) takes; the kernel takes 15 bytes. */
const NAME = /^[a-zA-Z0-9_=+.-]{1,15}$/;
const WANT = 'want 1 to 15 of the letters a to z in either case, digits, and _ = + . -';

/** They are folders of all links among the kernel's settings, or of this one and its parent. */
const TAKEN = new Set(['all', 'default', '.', '..']);

/**
 * The name of a link: of `/etc/wireguard/wg0.conf` it is `wg0`. What has no `/` and does not end in `.conf` is a name by
 * itself.
 *
 * @throws InputError `tunnel_name`
 */
export function tunnelName(fileOrName: string): string {
  const last = fileOrName.slice(fileOrName.lastIndexOf('/') + 1);
  if (last !== fileOrName && !last.endsWith('.conf')) {
    fail(`Cannot name a link after the file ${shown(last)}: want a file NAME.conf, or say a name`);
  }
  const name = last.endsWith('.conf') ? last.slice(0, -'.conf'.length) : last;
  if (!NAME.test(name)) {
    const length = name.length > 15 ? ` it has ${name.length} characters,` : '';
    fail(`Cannot name a link ${shown(name)}:${length} ${WANT}`);
  }
  if (TAKEN.has(name)) fail(`Cannot name a link ${shown(name)}: the kernel uses it for something else; want another`);
  return name;
}

function fail(message: string): never {
  throw new InputError('tunnel_name', message, { field: 'name' });
}

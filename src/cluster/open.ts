import { readFileSync, statSync } from 'node:fs';
import type { Clock } from '../clock.ts';
import { InputError } from '../errors.ts';
import { EmbeddedRegistry } from './embedded/registry.ts';
import { type EtcdOptions, EtcdRegistry } from './etcd/registry.ts';
import type { Registry } from './registry.ts';

export type RegistryOptions = {
  /** `etcd://HOST:PORT[,HOST:PORT…][/NAMESPACE]`, `etcds://…` for TLS, or `file:/PATH` */
  readonly url: string;
  readonly user?: string;
  /** files, the one with the password of mode 0600 */
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly certificateFile?: string;
  readonly keyFile?: string;
};

const NAMESPACE = 'culvert';
/** of TCP */
const PORT_MAX = 65_535;

/**
 * Opens the registry that a URL names; whether it is there shows when it is asked.
 *
 * @throws InputError `registry_url`, `registry_file`; CulvertError `registry_corrupt`, `registry_version` of a file
 */
export function openRegistry(options: RegistryOptions, clock: Clock): Registry {
  const { url } = options;
  const file = /^file:(\/.+)$/.exec(url)?.[1];
  if (file !== undefined) return new EmbeddedRegistry(file, clock);
  const [, scheme, hosts = '', namespace = NAMESPACE] = /^(etcds?):\/\/([^/]+)(?:\/([\w.-]{1,64}))?$/.exec(url) ?? [];
  const endpoints = hosts.split(',');
  if (scheme === undefined || !endpoints.every(isEndpoint)) throw urlError(url);
  return new EtcdRegistry({ endpoints, namespace: `${namespace}/`, ...userOf(options), ...tlsOf(options, scheme) });
}

function isEndpoint(text: string): boolean {
  const port = Number(/^[\w.-]+:(\d{1,5})$/.exec(text)?.[1] ?? 0);
  return port > 0 && port <= PORT_MAX;
}

function urlError(url: string): InputError {
  // whoever puts a password into it is not to find it in a log
  const shown = url.replace(/\/\/.*@/s, '//…@').slice(0, 200);
  const want = 'etcd://HOST:PORT,HOST:PORT/NAMESPACE, etcds:// for TLS, or file:/PATH';
  return new InputError('registry_url', `Cannot use the registry ${shown}: want ${want}`, {
    field: 'cluster.registry',
  });
}

function userOf({ user, passwordFile }: RegistryOptions): Pick<EtcdOptions, 'user'> {
  if (user === undefined && passwordFile === undefined) return {};
  if (user === undefined || passwordFile === undefined) {
    const message = 'Cannot ask the registry as a user: want cluster.user and cluster.passwordFile, both or none';
    throw new InputError('registry_file', message, { field: 'cluster.user' });
  }
  const mode = statOf(passwordFile, 'cluster.passwordFile') & 0o077;
  if (mode !== 0) {
    const message = `Cannot use ${passwordFile}: others may read it; chmod 600 it`;
    throw new InputError('registry_file', message, { field: 'cluster.passwordFile' });
  }
  const password = read(passwordFile, 'cluster.passwordFile').toString().replace(/\n$/, '');
  return { user: { name: user, password } };
}

function tlsOf({ caFile, certificateFile, keyFile }: RegistryOptions, scheme: string): Pick<EtcdOptions, 'tls'> {
  if (scheme === 'etcd') {
    if (caFile === undefined && certificateFile === undefined && keyFile === undefined) return {};
    throw new InputError('registry_url', 'Cannot use certificates with etcd://: want etcds://', {
      field: 'cluster.registry',
    });
  }
  if (caFile === undefined) {
    const message = 'Cannot speak TLS to the registry: want cluster.caFile, the authority of its certificate';
    throw new InputError('registry_file', message, { field: 'cluster.caFile' });
  }
  return {
    tls: {
      ca: read(caFile, 'cluster.caFile'),
      ...(certificateFile === undefined ? {} : { certificate: read(certificateFile, 'cluster.certificateFile') }),
      ...(keyFile === undefined ? {} : { key: read(keyFile, 'cluster.keyFile') }),
    },
  };
}

function read(file: string, field: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw fileError(file, field, cause);
  }
}

function statOf(file: string, field: string): number {
  try {
    return statSync(file).mode;
  } catch (cause) {
    throw fileError(file, field, cause);
  }
}

function fileError(file: string, field: string, cause: unknown): InputError {
  const why = String((cause as NodeJS.ErrnoException).code);
  return new InputError('registry_file', `Cannot read ${file}: ${why}`, { field, cause });
}

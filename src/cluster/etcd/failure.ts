import { BrokenCircuitError } from 'cockatiel';
import {
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { CulvertError } from '../../errors.ts';

const DENIED = [EtcdAuthenticationFailedError, EtcdPermissionDeniedError, GRPCUnauthenticatedError];

/** What etcd answers to who gives no name where it wants one: an argument that is invalid. */
const NAMELESS = 'user name is empty';

/** Whether it is a matter of the token alone, which ends with the etcd that gave it. */
export function isTokenInvalid(error: unknown): boolean {
  return error instanceof EtcdInvalidAuthTokenError;
}

/**
 * What went wrong during `attempt` at the registry of that name, as one of the family; a CulvertError stays as it is.
 *
 * @param why where more is known than the error says
 */
export function etcdFailure(attempt: string, name: string, error: unknown, why?: string): CulvertError {
  if (error instanceof CulvertError) return error;
  const message = why ?? reasonOf(error);
  return new CulvertError(codeOf(error), `Cannot ${attempt} in the registry ${name}: ${message}`, { cause: error });
}

/** Without what only the libraries below mean. */
function reasonOf(error: unknown): string {
  // it has not answered before, and its members are not asked for a moment
  if (error instanceof BrokenCircuitError) return 'no member answered just before';
  const message = error instanceof Error ? error.message : String(error);
  return message
    .replace(/^\d+ [A-Z_]+: /, '')
    .replace(/\.*\s*Resolution note:\s*$/, '')
    .replace(/^No connection established\. Last error: (?:Error: )?/, 'no connection: ');
}

function codeOf(error: unknown): string {
  if (error instanceof EtcdLeaseInvalidError) return 'registry_lease_lost';
  const isNameless = error instanceof Error && error.message.includes(NAMELESS);
  return isNameless || DENIED.some((one) => error instanceof one) ? 'registry_denied' : 'registry_unavailable';
}

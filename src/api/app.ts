import type { HttpBindings } from '@hono/node-server';
import { OpenAPIHono } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import { matchedRoutes } from 'hono/route';
import { CulvertError, InputError } from '../errors.ts';
import { inputError } from '../schema/issue.ts';
import { failureBody, isNoteworthy, statusOf } from './failure.ts';
import { clusterRoutes } from './routes/cluster.ts';
import { eventRoutes } from './routes/events.ts';
import { hostRoutes } from './routes/host.ts';
import { leaseRoutes } from './routes/leases.ts';
import { sandboxRoutes } from './routes/sandboxes.ts';
import type { Services } from './services.ts';

export type App = OpenAPIHono<{ Bindings: HttpBindings }>;

/** What to call an input of which no field is to blame. */
const WHOLE: Readonly<Record<string, string>> = { json: 'body', param: 'path', query: 'query', header: 'headers' };

/** The HTTP API: every route, and what becomes of what they throw. */
export function createApp(services: Services, version: string): App {
  const { metrics, report } = services;
  const app: App = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw inputError(result.error, 'invalid_request', WHOLE[result.target] ?? result.target);
    },
  });

  app.use(async (c, next) => {
    const start = performance.now();
    await next();
    const route = matchedRoutes(c).findLast(({ path }) => !path.endsWith('/*'))?.path ?? 'none';
    metrics.countRequest(c.req.method, route, c.res.status, (performance.now() - start) / 1000);
  });

  // as a field that a body may not have
  app.use('/v1/*', async (c, next) => {
    const at = c.req.url.indexOf('?');
    if (at >= 0) {
      const [name = ''] = new URLSearchParams(c.req.url.slice(at)).keys();
      const message = `Cannot use ${JSON.stringify(name.slice(0, 100))} in the query: there is nothing to ask for there`;
      throw new InputError('query_unknown', message, { field: 'query' });
    }
    await next();
  });

  app.onError((error, c) => {
    const failure = culvertErrorFrom(error, c.req.method, c.req.path);
    const status = statusOf(failure);
    if (isNoteworthy(failure)) report(error);
    return c.json(failureBody(failure), status);
  });

  app.notFound((c) => {
    const message = `Cannot find a route for ${c.req.method} ${c.req.path.slice(0, 100)}: see /openapi.json`;
    return c.json(failureBody(new InputError('route_unknown', message)), 404);
  });

  app.route('/', sandboxRoutes(services));
  app.route('/', leaseRoutes(services));
  app.route('/', clusterRoutes(services));
  app.route('/', hostRoutes(services));
  app.route('/', eventRoutes(services));
  app.doc31('/openapi.json', {
    openapi: '3.1.0',
    info: {
      title: 'Culvert',
      version,
      description: 'Networks for sandboxes. Over TCP each request bears `Authorization: Bearer TOKEN`.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
  });
  return app;
}

/** Everything that is thrown, as one of the family. What is not of it is a defect, and its text is not for callers. */
function culvertErrorFrom(error: Error, method: string, path: string): CulvertError {
  if (error instanceof CulvertError) return error;
  if (error instanceof HTTPException && error.status === 415) {
    return new InputError('media_type', 'Cannot read the body: want the content type application/json');
  }
  if (error instanceof HTTPException && error.status === 400) {
    return new InputError('invalid_json', 'Cannot read the body: it is not JSON');
  }
  const where = `${method} ${path.slice(0, 100)}`;
  return new CulvertError('internal', `Cannot answer ${where}: a defect in Culvert, the daemon’s log has more`, {
    cause: error,
  });
}

# One image for every role: `start` runs all of them, `start --roles smtp,http` some. See docs/deployment.md.
# The Node of package.json's optionalDependencies; a test holds the two together.
ARG NODE_VERSION=26.10.0

FROM node:${NODE_VERSION}-trixie-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# Optional packages are a second Node and the embedded PostgreSQL: the base image has the one, and a database does not
# belong into a container that is replaced and multiplied. DATABASE_URL is therefore required.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM node:${NODE_VERSION}-trixie-slim
LABEL org.opencontainers.image.title="OrderFlow Ingest" \
      org.opencontainers.image.description="Takes purchase orders by mail: durable before 250"
# Nothing is installed in a running container: what npm brings would only be reported by vulnerability scanners.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /opt/yarn-* \
           /usr/local/bin/yarn /usr/local/bin/yarnpkg \
 && mkdir /data && chown 1000:1000 /data && ln -s /app/bin/orderflow-ingest.cjs /usr/local/bin/orderflow-ingest
# Port 25 as an ordinary user: Docker (from 20.10) and Podman let a container bind it; elsewhere add the capability
# NET_BIND_SERVICE, or set SMTP_PORT to 1024 or more and map 25 to it.
ENV NODE_ENV=production \
    SMTP_HOST=0.0.0.0 \
    SMTP_PORT=25 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=8025 \
    DATA_DIR=/data \
    LOG_FORMAT=json
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY bin bin
COPY migrations migrations
COPY src src
# A number, so that Kubernetes can see that it is not root; it is the user `node` of the base image.
USER 1000:1000
VOLUME /data
EXPOSE 25 8025
STOPSIGNAL SIGTERM
# Wants the http role, which costs nothing: run it beside smtp and worker, also for their metrics.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.HTTP_PORT + '/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/bin/orderflow-ingest.cjs"]
CMD ["start"]

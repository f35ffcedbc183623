FROM a
MAINTAINER Some One <one@example.org>
EXPOSE 80/tcp 443 $PORT 8000-8010/UDP
VOLUME /a /b
VOLUME ["/c d", "/e"]
USER app:app
WORKDIR a b
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=1m30s --timeout=1.5s --retries=3 CMD curl -f localhost
HEALTHCHECK CMD ["check", "it"]
healthcheck none
ENTRYPOINT []
ENTRYPOINT ["a", 'b']
CMD [ -f x ] && y
ONBUILD run make
ONBUILD HEALTHCHECK NONE

FROM x AS build
FROM x AS final

FROM x
ENV NAME=world
RUN <<EOF
echo $NAME
make
EOF
RUN <<-"SCRIPT"
	#!/usr/bin/env python3
	print("hi")
	SCRIPT
RUN python3 <<A && cat <<B
print(1)
A
two
B
COPY <<greeting.txt <<'raw.txt' /etc/
hello $NAME
greeting.txt
hello $NAME
raw.txt

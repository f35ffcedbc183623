FROM a
RUN <<EOF
# not a comment
echo one \
EOF
RUN cat <<A 3<<-'B' | tee
a $x
A
	b
	B
COPY <<one.txt <<"two.txt" three /dir/
1 $x
one.txt
2 $x
two.txt
ADD --chmod=600 <<-x /y
	tab
	  and blanks
x
RUN echo "<<no" $((1<<2)) 'it <<no'
RUN ["cat", "<<no"]
ONBUILD COPY <<f /f
body
f

FROM scratch
ARG SUM=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
ADD --checksum=$SUM https://user:secret@example.com/a/file.txt?x /d/
ADD --unpack=true https://example.com/ local.tar /e/
ADD --keep-git-dir=true --link https://example.com/repo.git#v1:sub git@example.com:o/r.git?submodules=false&checksum=ab12 /f/

FROM docs

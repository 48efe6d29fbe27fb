"""The data creation of `morphbert.data.build` as an Apache Beam pipeline, for corpora beyond one machine."""

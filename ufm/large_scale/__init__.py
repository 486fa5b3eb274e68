"""Problems with tens of thousands of classes and columns, in memory O((K + C) d) plus a chunk."""

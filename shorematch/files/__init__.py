"""Files: economies, tables and draws read with every defect noted; run folders and manifests."""

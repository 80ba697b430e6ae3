from interp.features.graphs.attribution_graph import AttributionGraph as AttributionGraph
from interp.features.graphs.attribution_graph import Node as Node
from interp.features.graphs.graph import graph as graph

import torch,math
def build(arch,shape,classes,width,depth,act,generator,vocabulary=None):
    sizes=[math.prod(shape)]+[width]*depth+[classes]
    layers=[]
    for i,(a,b) in enumerate(zip(sizes,sizes[1:])):
        l=torch.nn.Linear(a,b,dtype=torch.float64)
        with torch.no_grad():
            for p in l.parameters(): p.copy_((torch.rand(p.shape,generator=generator,dtype=torch.float64)*2-1)/math.sqrt(a))
        layers+=[l]+([torch.nn.Tanh() if act=='tanh' else torch.nn.GELU()] if i<len(sizes)-2 else [])
    return torch.nn.Sequential(*layers)
